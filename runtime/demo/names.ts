/** First and second halves of nicknames. All people, shops and places of the demo are invented. */
export const moods = ['安静的', '早起的', '爱吃糖的', '山脚下的', '慢吞吞的', '戴帽子的', '晒太阳的', '数星星的']
export const animals = ['松鼠', '白鹭', '刺猬', '河狸', '小鹿', '海豚', '猫头鹰', '企鹅']

/** Family and given names. */
export const families = ['云', '松', '溪', '禾', '柏', '岚', '笛', '竹']
export const givens = ['小满', '知夏', '听雨', '半夏', '晴川', '南星', '拾光', '青禾']

/** Shops, each with what it sells: name, variant, price in fen. */
export const shops: { name: string; products: [name: string, sku: string, price: number][] }[] = [
  {
    name: '云岭茶铺(演示)',
    products: [
      ['高山绿茶', '250g 罐装', 8800],
      ['桂花红茶', '100g 袋装', 4590],
      ['陶土茶壶', '雨点釉', 16800],
      ['竹节茶匙', '单支', 1250]
    ]
  },
  {
    name: '望海渔家(演示)',
    products: [
      ['即食海带', '原味 10 包', 1990],
      ['干贝', '一级 200g', 12900],
      ['鱿鱼丝', '微辣 150g', 3280],
      ['虾皮', '500g', 2650]
    ]
  },
  {
    name: '松风书坊(演示)',
    products: [
      ['手抄本', 'A5 横线', 1880],
      ['钢笔', '深蓝 F 尖', 6900],
      ['镇纸', '黄铜', 9900],
      ['书签', '五枚装', 999]
    ]
  },
  {
    name: '半山面包房(演示)',
    products: [
      ['核桃欧包', '500g', 2600],
      ['海盐卷', '六只装', 3000],
      ['柠檬磅蛋糕', '一条', 5800],
      ['黄油曲奇', '铁盒', 4801]
    ]
  },
  {
    name: '青禾杂货(演示)',
    products: [
      ['棉麻围裙', '米白', 5500],
      ['搪瓷杯', '350ml 墨绿', 2200],
      ['藤编收纳篮', '大号', 7350],
      ['香薰蜡烛', '雪松', 6301]
    ]
  }
]

/** Where parcels go: province, city, district. */
export const places: [province: string, city: string, district: string][] = [
  ['云栖省', '望山市', '松风区'],
  ['云栖省', '镜湖市', '落霞区'],
  ['海岚省', '听潮市', '白帆区'],
  ['海岚省', '珊瑚市', '灯塔区'],
  ['禾原省', '麦浪市', '风车区']
]

/** Streets of those places. */
export const streets = ['示例路', '虚构街', '样板巷', '演示大道']

/** Carriers. */
export const carriers = ['云雀速运', '青鸟快递', '蜗牛物流']

/** What buyers give as the reason of a refund. */
export const reasons = ['不想要了', '拍错规格', '商品与描述不符', '包装破损', '收到太晚']

/** What buyers remark on an order; most say nothing. */
export const remarks = ['请放门口', '周末送货', '需要发票']
